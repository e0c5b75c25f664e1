import { JSONValue } from '@lumino/coreutils';

import { IPublishRequest, ISuggestedParameter, ISuggestion } from './suggestion';

/**
 * Where the names come from that the code finds.
 */
export type Place =
  { kind: 'session'; name: string } | { kind: 'snapshot'; id: string } | { kind: 'nothing' };

/**
 * An input or output as it stands in the form.
 */
export interface IParameterDraft {
  /**
   * Tells rows apart while their names are typed.
   */
  key: number;
  name: string;
  type: string;

  /**
   * JSON as it was typed; of inputs only, and empty for none.
   */
  example: string;
  source: ISuggestedParameter['source'];
}

/**
 * What will be published, as it stands in the form.
 */
export interface IDraft {
  name: string;
  version: string;
  description: string;
  alias: string;

  /**
   * Names of files, one a line or between commas.
   */
  files: string;
  initCode: string;
  code: string;
  place: Place;
  inputs: readonly IParameterDraft[];
  outputs: readonly IParameterDraft[];

  /**
   * Names of the kernel that are not to be sent to the session.
   */
  kept: readonly string[];
}

/**
 * What is wrong with a draft.
 */
export type Problem =
  | { kind: 'no-name' | 'no-version' | 'no-code' }
  | { kind: 'no-identifier' | 'twice' | 'no-json'; name: string; key: number };

let lastKey = 0;

/**
 * Make a row of the form.
 */
export function parameterDraft(
  name = '',
  type = 'numeric',
  example: JSONValue = null,
  source: ISuggestedParameter['source'] = 'unknown'
): IParameterDraft {
  const text = example === null ? '' : JSON.stringify(example);
  return { key: ++lastKey, name, type, example: text, source };
}

/**
 * Begin with what the kernel suggests.
 */
export function draftOf(suggestion: ISuggestion): IDraft {
  return {
    name: suggestion.name,
    version: suggestion.version,
    description: suggestion.description ?? '',
    alias: suggestion.alias ?? '',
    files: (suggestion.files ?? []).join(', '),
    initCode: suggestion.initCode,
    code: suggestion.code,
    place: placeOf(suggestion),
    ...parametersOf(suggestion),
    kept: []
  };
}

/**
 * Where the names are; a session is not started for code that needs nothing.
 */
function placeOf({ session, snapshot, otherNames }: ISuggestion): Place {
  if (snapshot !== null) {
    return { kind: 'snapshot', id: snapshot };
  }
  return session && (session.exists || otherNames.notebook.length > 0)
    ? { kind: 'session', name: session.name }
    : { kind: 'nothing' };
}

/**
 * The rows that the kernel suggests.
 */
export function parametersOf(suggestion: ISuggestion): Pick<IDraft, 'inputs' | 'outputs'> {
  const toDraft = ({ name, type, example, source }: ISuggestedParameter): IParameterDraft =>
    parameterDraft(name, type, example, source);
  return { inputs: suggestion.inputs.map(toDraft), outputs: suggestion.outputs.map(toDraft) };
}

/**
 * Names that the code reads and that are no inputs, by where they are.
 */
export function otherNames(suggestion: ISuggestion, draft: IDraft): ISuggestion['otherNames'] {
  const inputs = new Set(draft.inputs.map(({ name }) => name));
  const dropped = (source: ISuggestedParameter['source']): string[] =>
    suggestion.inputs.filter(input => input.source === source).map(({ name }) => name);
  const left = (...names: string[]): string[] =>
    [...new Set(names)].filter(name => !inputs.has(name));
  const { session, notebook, missing } = suggestion.otherNames;
  const there = left(...session, ...dropped('session'));
  const here = left(...notebook, ...dropped('notebook'));
  const nowhere = left(...missing, ...dropped('cell'), ...dropped('unknown'));
  return draft.place.kind === 'nothing'
    ? { session: [], notebook: [], missing: left(...there, ...here, ...nowhere) }
    : { session: there, notebook: here, missing: nowhere };
}

/**
 * Names of the kernel that are sent to the session before its snapshot is taken.
 */
export function sentNames(suggestion: ISuggestion, draft: IDraft): string[] {
  return draft.place.kind === 'session'
    ? otherNames(suggestion, draft).notebook.filter(name => !draft.kept.includes(name))
    : [];
}

/**
 * The type that an object of the session most likely has as an input.
 */
export function typeOfObject(suggestion: ISuggestion, name: string): string {
  const { type = '', parameterType = null } =
    suggestion.objects.find(object => object.name === name) ?? {};
  return (
    parameterType ?? TYPES_OF_CLASSES[type.split('.').at(-1)?.toLowerCase() ?? ''] ?? 'numeric'
  );
}

const TYPES_OF_CLASSES: Readonly<Record<string, string>> = {
  bool: 'logical',
  int: 'integer',
  float: 'numeric',
  str: 'character',
  list: 'vector',
  tuple: 'vector',
  series: 'vector',
  ndarray: 'vector',
  dict: 'data.frame',
  dataframe: 'data.frame'
};

/**
 * What names of inputs and outputs look like; those of R may have dots.
 */
const NAME = /^[\p{L}_][\p{L}\p{N}_]*$/u;
const NAME_IN_R = /^(\p{L}|\.(?!\p{N}))[\p{L}\p{N}_.]*$/u;

/**
 * Find what is wrong with a draft, as far as that can be seen without the server.
 *
 * @param runtimeType - Language of its code.
 */
export function problemsOf(draft: IDraft, runtimeType = 'Python'): Problem[] {
  const problems: Problem[] = [];
  if (!draft.name.trim()) {
    problems.push({ kind: 'no-name' });
  }
  if (!draft.version.trim()) {
    problems.push({ kind: 'no-version' });
  }
  if (!draft.code.trim()) {
    problems.push({ kind: 'no-code' });
  }
  const form = runtimeType === 'R' ? NAME_IN_R : NAME;
  return [
    ...problems,
    ...parameterProblems(draft.inputs, form),
    ...parameterProblems(draft.outputs, form)
  ];
}

function parameterProblems(rows: readonly IParameterDraft[], form: RegExp): Problem[] {
  const seen = new Set<string>();
  return rows.flatMap((row): Problem[] => {
    const { key } = row;
    const name = row.name.trim();
    const problems: Problem[] = [];
    if (!form.test(name)) {
      problems.push({ kind: 'no-identifier', name, key });
    } else if (seen.has(name)) {
      problems.push({ kind: 'twice', name, key });
    }
    seen.add(name);
    if (row.example.trim() && exampleOf(row) === undefined) {
      problems.push({ kind: 'no-json', name, key });
    }
    return problems;
  });
}

/**
 * Turn a draft without problems into what the kernel publishes.
 */
export function requestOf(suggestion: ISuggestion, draft: IDraft): IPublishRequest {
  const { place } = draft;
  return {
    name: draft.name.trim(),
    version: draft.version.trim(),
    code: draft.code,
    runtimeType: suggestion.runtimeType,
    initCode: draft.initCode,
    inputs: draft.inputs.map(row => ({
      name: row.name.trim(),
      type: row.type,
      example: exampleOf(row) ?? null
    })),
    outputs: draft.outputs.map(({ name, type }) => ({ name: name.trim(), type })),
    description: draft.description.trim(),
    alias: draft.alias.trim(),
    files: draft.files
      .split(/[,\n]/)
      .map(file => file.trim())
      .filter(Boolean),
    session: place.kind === 'session' ? place.name : null,
    snapshot: place.kind === 'snapshot' ? place.id : null,
    send: sentNames(suggestion, draft)
  };
}

function exampleOf({ example }: IParameterDraft): JSONValue | undefined {
  try {
    return example.trim() ? (JSON.parse(example) as JSONValue) : undefined;
  } catch {
    return undefined;
  }
}
