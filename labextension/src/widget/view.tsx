import * as React from 'react';

import { IServiceVersion } from '../calls/api';
import {
  Button,
  Empty,
  harmless,
  harmlessLines,
  Loading,
  RelativeTime,
  Tabs,
  useSignal
} from '../calls/components';
import { messageOf } from '../calls/error';
import { describeCalls, Figures, StateDot } from '../calls/figures';
import {
  filterServices,
  groupByName,
  idOf,
  isChangeable,
  IServiceGroup,
  IVersionKey
} from '../calls/rows';
import { LANGUAGES } from '../calls/snippets';
import { ITranslation } from '../calls/translation';
import { Version } from '../calls/version';
import { Gone } from './form';
import { PanelModel } from './panel';
import { Sessions } from './sessions';

export interface IPanelProps {
  model: PanelModel;
  trans: ITranslation;
}

/**
 * The panel in a cell: services and sessions, live, and what to do with them.
 */
export function PanelView(props: IPanelProps): React.ReactElement {
  const { model, trans } = props;
  const { requests } = model;
  useSignal(model.changed);
  useSignal(requests.gone);
  const prefix = React.useId();
  const [tab, setTab] = React.useState('services');
  const { state, services, sessions } = model;
  const tabs = [
    {
      id: 'services',
      label: trans.__('Services (%1)', new Set(services.map(({ name }) => name)).size)
    },
    { id: 'sessions', label: trans.__('Sessions (%1)', sessions.length) }
  ];
  return (
    <>
      {requests.isGone && <Gone trans={trans} />}
      {state?.trouble && (
        <div className="jp-Mlsvc-notice jp-mod-trouble" role="alert">
          <p>{harmlessLines(state.trouble)}</p>
        </div>
      )}
      {state?.isLoaded ? (
        <>
          <Tabs
            prefix={prefix}
            label={trans.__('Services and sessions')}
            tabs={tabs}
            selected={tab}
            onSelect={setTab}
          />
          <div
            className="jp-MlsvcWidget-panel"
            role="tabpanel"
            id={`${prefix}-panel`}
            aria-labelledby={`${prefix}-tab-${tab}`}
          >
            {tab === 'services' ? <Services {...props} /> : <Sessions {...props} />}
          </div>
        </>
      ) : (
        !state?.trouble && !requests.isGone && <Loading trans={trans} />
      )}
    </>
  );
}

/**
 * The list of services, or the version that is open.
 */
function Services(props: IPanelProps): React.ReactElement {
  const { model, trans } = props;
  const [open, setOpen] = React.useState<IVersionKey | null>(null);
  const [text, setText] = React.useState('');
  const [isMine, setMine] = React.useState(false);
  const [said, setSaid] = React.useState('');
  const { services, state } = model;
  const shown = open && services.find(each => idOf(each) === idOf(open));
  const back = React.useRef<HTMLDivElement>(null);
  const list = React.useRef<HTMLUListElement>(null);
  const isFirst = React.useRef(true);
  React.useEffect(() => {
    // What had the focus is gone; reading and tabbing go on in its place.
    if (!isFirst.current) {
      (back.current ?? list.current)?.querySelector('button')?.focus({ preventScroll: true });
    }
    isFirst.current = false;
  }, [shown === undefined || shown === null]);
  const status = (
    <p className="jp-MlsvcWidget-said" role="status">
      {said}
    </p>
  );
  if (shown) {
    return (
      <>
        <div ref={back}>
          <Button
            onClick={() => {
              setOpen(null);
            }}
          >
            {trans.__('Back to the list')}
          </Button>
        </div>
        <OpenVersion
          key={idOf(shown)}
          {...props}
          service={shown}
          onVersion={version => {
            setOpen({ name: shown.name, version });
          }}
          onDeleted={() => {
            setSaid(trans.__('Deleted %1 %2.', harmless(shown.name), harmless(shown.version)));
            setOpen(null);
          }}
        />
        {status}
      </>
    );
  }
  const publisher = isMine ? (state?.user?.name ?? null) : null;
  const groups = groupByName(filterServices(services, { text, publisher }));
  return (
    <>
      {services.length === 0 ? (
        <Empty title={trans.__('No services yet')}>
          <p>{trans.__('%1 publishes the code of a cell.', '%%publish')}</p>
        </Empty>
      ) : (
        <>
          <div className="jp-MlsvcWidget-filter">
            <input
              type="search"
              className="jp-mod-styled jp-Mlsvc-input"
              aria-label={trans.__('Search services')}
              placeholder={trans.__('Search')}
              value={text}
              onChange={event => {
                setText(event.target.value);
              }}
            />
            {state?.user && (
              <label
                className="jp-Mlsvc-mine"
                title={trans.__('List only services that you published')}
              >
                <input
                  type="checkbox"
                  checked={isMine}
                  onChange={event => {
                    setMine(event.target.checked);
                  }}
                />
                {trans.__('By me')}
              </label>
            )}
          </div>
          {groups.length === 0 && <Empty title={trans.__('No service fits')} />}
          <ul className="jp-MlsvcWidget-list" ref={list} aria-label={trans.__('Services')}>
            {groups.map(group => (
              <Line
                key={group.name}
                {...props}
                group={group}
                onOpen={key => {
                  setSaid('');
                  setOpen(key);
                }}
              />
            ))}
          </ul>
        </>
      )}
      {status}
    </>
  );
}

/**
 * A service in its newest version.
 */
function Line(
  props: IPanelProps & { group: IServiceGroup; onOpen: (key: IVersionKey) => void }
): React.ReactElement | null {
  const { model, trans, group, onOpen } = props;
  const [newest, ...older] = group.versions;
  if (!newest) {
    return null;
  }
  const statistics = model.statistics.get(idOf(newest));
  return (
    <li>
      <button
        type="button"
        className="jp-MlsvcWidget-line"
        data-service={group.name}
        onClick={() => {
          onOpen({ name: newest.name, version: newest.version });
        }}
      >
        <span className="jp-Mlsvc-line">
          <StateDot service={newest} statistics={statistics} trans={trans} />
          <span className="jp-MlsvcWidget-name">{harmless(group.name)}</span>
          <span className="jp-Mlsvc-faint">
            {harmless(newest.version)}
            {older.length > 0 &&
              ` ${trans._n('and %1 older version', 'and %1 older versions', older.length)}`}
          </span>
          <Figures service={newest} statistics={statistics} trans={trans} />
        </span>
        <span className="jp-Mlsvc-line jp-mod-second">
          <span className="jp-Mlsvc-description">
            {harmless((newest.description ?? '').replace(/\s+/gu, ' '))}
          </span>
          <span className="jp-Mlsvc-aside">
            {newest.versionPublishedBy && `${harmless(newest.versionPublishedBy)}, `}
            <RelativeTime time={newest.creationTime} trans={trans} />
          </span>
        </span>
      </button>
    </li>
  );
}

function OpenVersion(
  props: IPanelProps & {
    service: IServiceVersion;
    onVersion: (version: string) => void;
    onDeleted: () => void;
  }
): React.ReactElement {
  const { model, trans, service, onVersion, onDeleted } = props;
  const { name, version } = service;
  const [isAsked, setAsked] = React.useState(false);
  const { user } = model.state ?? {};
  const callUrl = (user?.publicUrl ?? '').replace(/\/$/, '');
  const versions = model.services.filter(each => each.name === name).reverse();
  const statistics = model.statistics.get(idOf(service));
  const path = ['api', name, version].map(encodeURIComponent).join('/');
  return (
    <>
      {isAsked && (
        <Question
          text={`${trans.__('Delete %1 %2?', harmless(name), harmless(version))} ${describeCalls(statistics, trans)}`}
          verb={trans.__('Delete')}
          trans={trans}
          act={() => model.delete(service)}
          onDone={onDeleted}
          onLeft={() => {
            setAsked(false);
          }}
        />
      )}
      <Version
        service={service}
        versions={versions}
        form={model.form(service)}
        api={model.api}
        trans={trans}
        callUrl={callUrl}
        languages={LANGUAGES}
        maySeeFigures={user !== undefined && user.role !== 'caller'}
        seen={statistics?.calls}
        aside={
          isChangeable(service) && (
            <Button
              onClick={() => {
                setAsked(true);
              }}
            >
              {trans.__('Delete…')}
            </Button>
          )
        }
        documents={['', '/openapi.json', '/swagger.json'].map((document, i) => (
          <a key={document} href={`${callUrl}/${path}${document}`} target="_blank" rel="noreferrer">
            {[trans.__('Page for callers'), 'OpenAPI 3.1', 'Swagger 2.0'][i]}
          </a>
        ))}
        onVersion={onVersion}
      />
      {service.code && (
        <details className="jp-Mlsvc-section">
          <summary>
            <h4>{trans.__('Code')}</h4>
          </summary>
          <pre className="jp-Mlsvc-code" tabIndex={0} role="region" aria-label={trans.__('Code')}>
            {service.code}
          </pre>
        </details>
      )}
    </>
  );
}

/**
 * Asks before something that can't be undone is done, and says why it could not be done.
 */
export function Question(props: {
  text: string;
  verb: string;
  trans: ITranslation;
  act: () => Promise<void>;
  onDone: () => void;
  onLeft: () => void;
}): React.ReactElement {
  const { text, verb, trans, act, onDone, onLeft } = props;
  const [isActing, setActing] = React.useState(false);
  const [problem, setProblem] = React.useState('');
  const box = React.useRef<HTMLDivElement>(null);
  React.useEffect(() => {
    box.current?.querySelector<HTMLElement>('button:last-of-type')?.focus();
  }, []);
  const go = async (): Promise<void> => {
    setActing(true);
    setProblem('');
    try {
      await act();
      onDone();
    } catch (error) {
      setProblem(messageOf(error));
      setActing(false);
    }
  };
  return (
    <div
      ref={box}
      className="jp-Mlsvc-notice jp-mod-warning"
      role="alertdialog"
      aria-label={text}
      onKeyDown={event => {
        if (event.key === 'Escape') {
          event.stopPropagation();
          onLeft();
        }
      }}
    >
      <p>{text}</p>
      {problem && <p role="alert">{problem}</p>}
      <div className="jp-Mlsvc-noticeActions">
        <Button kind="warn" disabled={isActing} onClick={() => void go()}>
          {verb}
        </Button>
        <Button onClick={onLeft}>{trans.__('Keep')}</Button>
      </div>
    </div>
  );
}
