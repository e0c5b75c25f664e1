import { IRenderMimeRegistry, MimeModel } from '@jupyterlab/rendermime';
import { DisposableSet } from '@lumino/disposable';
import * as React from 'react';

/**
 * Longest code, in characters, that is coloured.
 */
const MAX_COLOURED_LENGTH = 50_000;

/**
 * Code, coloured where Lab's renderer of Markdown is there to do it.
 *
 * @param language - A name that fenced code in Markdown may have.
 */
export function Code(props: {
  code: string;
  language: string;
  label: string;
  rendermime: IRenderMimeRegistry | null;
}): React.ReactElement {
  const { code, language, label, rendermime } = props;
  const [html, setHtml] = React.useState<{ code: string; node: Element } | null>(null);
  const slot = React.useRef<HTMLPreElement>(null);
  React.useEffect(() => {
    let isCurrent = true;
    void colour(code, language, rendermime).then(node => {
      if (isCurrent && node) {
        setHtml({ code, node });
      }
    });
    return () => {
      isCurrent = false;
    };
  }, [code, language, rendermime]);
  const coloured = html?.code === code ? html.node : null;
  React.useLayoutEffect(() => {
    if (coloured) {
      slot.current?.replaceChildren(...coloured.cloneNode(true).childNodes);
    }
  }, [coloured]);
  return (
    // One that React fills, or one that it leaves alone.
    <pre
      key={coloured ? 'coloured' : 'plain'}
      className="jp-Mlsvc-code"
      ref={slot}
      tabIndex={0}
      role="region"
      aria-label={label}
    >
      {coloured ? undefined : code}
    </pre>
  );
}

async function colour(
  code: string,
  language: string,
  rendermime: IRenderMimeRegistry | null
): Promise<Element | null> {
  if (!rendermime?.mimeTypes.includes('text/markdown') || code.length > MAX_COLOURED_LENGTH) {
    return null;
  }
  const longest = Math.max(2, ...(code.match(/`+/g) ?? []).map(ticks => ticks.length));
  const fence = '`'.repeat(longest + 1);
  const disposables = new DisposableSet();
  const renderer = rendermime.createRenderer('text/markdown');
  disposables.add(renderer);
  try {
    const data = { 'text/markdown': `${fence}${language}\n${code}\n${fence}` };
    await renderer.renderModel(new MimeModel({ data }));
    return renderer.node.querySelector('pre code') ?? null;
  } catch {
    return null;
  } finally {
    disposables.dispose();
  }
}
