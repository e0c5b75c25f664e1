import * as React from 'react';

import { Loading, Trouble } from '../calls/components';
import { ITrouble, troubleOf } from '../calls/error';
import { IVersionKey } from '../calls/rows';
import { IWorld } from './world';

/**
 * The document of the API, or of one service, to read and to try out.
 */
export function Documentation(props: {
  service: IVersionKey | null;
  world: IWorld;
}): React.ReactElement {
  const { service, world } = props;
  const { access, navigation, trans } = world;
  const slot = React.useRef<HTMLDivElement>(null);
  const [trouble, setTrouble] = React.useState<ITrouble | null>(null);
  const [isThere, setThere] = React.useState(false);
  const [count, retry] = React.useReducer((n: number) => n + 1, 0);
  React.useEffect(() => {
    let isCurrent = true;
    const path = service ? ['api', service.name, service.version] : [];
    const show = async (): Promise<void> => {
      const [{ showDocument }, spec] = await Promise.all([
        import('./swagger'),
        access.json<Record<string, unknown>>('GET', [...path, 'openapi.json'])
      ]);
      if (isCurrent && slot.current) {
        setTrouble(null);
        setThere(true);
        showDocument(slot.current, { ...spec, servers: [{ url: navigation.apiUrl }] }, access);
      }
    };
    show().catch((error: unknown) => {
      if (isCurrent) {
        setTrouble(troubleOf(error));
      }
    });
    return () => {
      isCurrent = false;
    };
  }, [access, access.user, service?.name, service?.version, count]);
  return (
    <>
      {trouble ? (
        <Trouble trouble={trouble} trans={trans} onRetry={retry} />
      ) : (
        !isThere && <Loading trans={trans} />
      )}
      <div ref={slot} className="jp-MlsvcPage-document" />
    </>
  );
}
