import { diffLines } from 'diff';
import * as React from 'react';

import { IParameterDefinition, IServiceVersion, Sent } from './api';
import { formatBytes, harmless, harmlessLines } from './components';
import { ITranslation } from './translation';

/**
 * Unchanged lines that are shown on either side of changed ones.
 */
const CONTEXT = 3;

/**
 * A version with what it holds, where that is known.
 */
export interface ICompared {
  service: IServiceVersion;
  contents: Sent['ServiceContents'] | null;
}

/**
 * How two versions differ, in their parts; values of objects are not compared.
 */
export function Comparison(props: {
  left: ICompared;
  right: ICompared;
  trans: ITranslation;
}): React.ReactElement {
  const { left, right, trans } = props;
  const hasContents = left.contents !== null && right.contents !== null;
  const parts: [string, (of: ICompared) => string][] = [
    [trans.__('Description'), ({ service }) => service.description ?? ''],
    [trans.__('Code'), ({ service }) => service.code ?? ''],
    [trans.__('Run before each call'), ({ service }) => service.initCode ?? ''],
    [trans.__('Inputs and outputs'), ({ service }) => schemaText(service)]
  ];
  if (hasContents) {
    if (left.contents?.runtimeVersion && right.contents?.runtimeVersion) {
      parts.push([trans.__('Environment'), ({ contents }) => environmentText(contents)]);
    }
    parts.push(
      [trans.__('Objects'), ({ contents }) => objectsText(contents)],
      [trans.__('Files'), ({ contents }) => filesText(contents)]
    );
  }
  return (
    <>
      {parts.map(([title, textOf]) => (
        <section key={title}>
          <h3>{title}</h3>
          <Difference label={title} left={textOf(left)} right={textOf(right)} trans={trans} />
        </section>
      ))}
      <p className="jp-Mlsvc-faint">
        {hasContents
          ? trans.__('Objects are compared by their types and sizes.')
          : trans.__(
              'Environment, objects and files are compared where you may change both versions.'
            )}
      </p>
    </>
  );
}

function Difference(props: {
  label: string;
  left: string;
  right: string;
  trans: ITranslation;
}): React.ReactElement {
  const { label, left, right, trans } = props;
  if (left === right) {
    return <p className="jp-Mlsvc-faint">{trans.__('The same')}</p>;
  }
  return (
    <pre className="jp-Mlsvc-code jp-mod-wrapped" tabIndex={0} role="region" aria-label={label}>
      {linesOf(left, right, trans).map(({ mark, text }, i) => (
        <span key={i} className={`jp-Mlsvc-diff ${CLASSES[mark]}`}>
          {`${mark} ${text}\n`}
        </span>
      ))}
    </pre>
  );
}

type Mark = '+' | '-' | ' ' | '…';

interface ILine {
  mark: Mark;
  text: string;
}

const CLASSES: Readonly<Record<Mark, string>> = {
  '+': 'jp-mod-added',
  '-': 'jp-mod-removed',
  ' ': '',
  '…': 'jp-mod-left-out'
};

/**
 * The lines of two texts, those of the left one marked by a minus, and those of the right by a plus.
 */
export function linesOf(left: string, right: string, trans: ITranslation): readonly ILine[] {
  const changes = diffLines(ended(left), ended(right));
  return changes.flatMap(({ added, removed, value }, at): ILine[] => {
    const lines = harmlessLines(value.replace(/\n$/u, '')).split('\n');
    if (added || removed) {
      return lines.map(text => ({ mark: added ? '+' : '-', text }));
    }
    const before = at === 0 ? 0 : CONTEXT;
    const after = at === changes.length - 1 ? 0 : CONTEXT;
    const same = lines.map((text): ILine => ({ mark: ' ', text }));
    const count = lines.length - before - after;
    if (count <= 1) {
      return same;
    }
    const text = trans._n('%1 line', '%1 lines', count);
    return [...same.slice(0, before), { mark: '…', text }, ...same.slice(lines.length - after)];
  });
}

function ended(text: string): string {
  return text === '' || text.endsWith('\n') ? text : `${text}\n`;
}

function schemaText(service: IServiceVersion): string {
  const line = (kind: string, { name, type, ...rest }: IParameterDefinition): string => {
    const more = Object.keys(rest).length > 0 ? ` ${JSON.stringify(rest, null, 2)}` : '';
    return `${kind} ${name}: ${type}${more}`;
  };
  return [
    ...(service.inputParameterDefinitions ?? []).map(each => line('in ', each)),
    ...(service.outputParameterDefinitions ?? []).map(each => line('out', each)),
    ...(service.outputFileNames ?? []).map(name => `file ${name}`)
  ].join('\n');
}

function environmentText(contents: Sent['ServiceContents'] | null): string {
  return [
    `${contents?.runtimeType ?? ''} ${contents?.runtimeVersion ?? ''}`,
    ...Object.entries(contents?.packages ?? {}).map(([name, version]) => `${name} ${version}`)
  ].join('\n');
}

function objectsText(contents: Sent['ServiceContents'] | null): string {
  return (contents?.objects ?? [])
    .filter(({ kept }) => kept)
    .map(({ name, type, size }) => `${harmless(name)}: ${harmless(type)}, ${formatBytes(size)}`)
    .sort()
    .join('\n');
}

function filesText(contents: Sent['ServiceContents'] | null): string {
  return (contents?.files ?? [])
    .map(({ path, size }) => `${harmless(path)}, ${formatBytes(size)}`)
    .sort()
    .join('\n');
}
