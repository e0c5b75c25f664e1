import * as nbformat from '@jupyterlab/nbformat';
import { OutputAreaModel, SimplifiedOutputArea } from '@jupyterlab/outputarea';
import { RenderMimeRegistry, standardRendererFactories } from '@jupyterlab/rendermime';
import { Widget } from '@lumino/widgets';
import * as React from 'react';

import { ConsoleLog } from './console';

/**
 * Pixels from the end within which the console goes along with what comes.
 */
const NEAR = 24;

/**
 * What a console has put out, as a notebook shows it: text in colours, tables, images.
 *
 * It is not trusted: HTML is cleaned, and scripts do not run.
 */
export function Output(props: { log: ConsoleLog; label: string }): React.ReactElement {
  const { log, label } = props;
  const host = React.useRef<HTMLDivElement>(null);
  // Not a plain effect: the widget has to leave before its node does.
  React.useLayoutEffect(() => {
    const node = host.current;
    if (!node) {
      return;
    }
    const model = new OutputAreaModel({ trusted: false });
    const rendermime = new RenderMimeRegistry({ initialFactories: standardRendererFactories });
    const area = new SimplifiedOutputArea({ model, rendermime });
    Widget.attach(area, node);
    let shown: readonly nbformat.IOutput[] = [];
    let frame = 0;
    const draw = (): void => {
      frame = 0;
      const isAtEnd = node.scrollHeight - node.scrollTop - node.clientHeight < NEAR;
      show(model, shown, log.outputs);
      shown = log.outputs;
      if (isAtEnd) {
        // What is drawn takes its room a moment later.
        requestAnimationFrame(() => {
          node.scrollTop = node.scrollHeight;
        });
      }
    };
    const onChange = (): void => {
      // Output may come in thousands of pieces.
      frame ||= requestAnimationFrame(draw);
    };
    log.changed.connect(onChange);
    draw();
    return () => {
      cancelAnimationFrame(frame);
      log.changed.disconnect(onChange);
      area.dispose();
      model.dispose();
    };
  }, [log]);
  return (
    <div
      className="jp-MlsvcSessions-output"
      role="log"
      aria-label={label}
      tabIndex={0}
      ref={host}
    />
  );
}

/**
 * Change a model from some outputs to others, of which most are the same.
 */
function show(
  model: OutputAreaModel,
  before: readonly nbformat.IOutput[],
  after: readonly nbformat.IOutput[]
): void {
  let same = 0;
  while (same < before.length && before[same] === after[same]) {
    same += 1;
  }
  if (after.length < before.length) {
    model.clear();
    same = 0;
  }
  after.slice(same).forEach((output, at) => {
    if (same + at < model.length) {
      model.set(same + at, output);
    } else {
      model.add(output);
    }
  });
}
