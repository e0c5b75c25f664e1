import { JSONValue } from '@lumino/coreutils';

import { IColumnDefinition } from '../calls/api';
import { madeUp } from '../calls/examples';
import {
  IPublishRequest,
  Isolation,
  ISuggestedParameter,
  ISuggestion,
  PublishKind
} from './suggestion';

/**
 * Where the names come from that the code finds; objects of the notebook go to a session as well.
 */
export type Place =
  { kind: 'session'; name: string } | { kind: 'snapshot'; id: string } | { kind: 'notebook' };

/**
 * An input or output as it stands in the form.
 */
export interface IParameterDraft {
  /**
   * Tells rows apart while their names are typed.
   */
  key: number;
  name: string;

  /**
   * Empty where the publish check is to find it out.
   */
  type: string;

  /**
   * False until somebody chose the type, where the suggested one is a guess.
   */
  isKnown: boolean;

  /**
   * JSON as it was typed; of inputs only, and empty for none.
   */
  example: string;
  source: ISuggestedParameter['source'];

  /**
   * What the input is where callers leave it out; absent where they may not.
   */
  default?: JSONValue;

  /**
   * What is said of it.
   */
  description: string;

  /**
   * Those of a data.frame; absent where they are not known.
   */
  columns?: readonly IColumnDefinition[];

  /**
   * Which example callers see.
   */
  shows: Shows;
}

/**
 * None, the values of the notebook, or made-up ones.
 */
export type Shows = 'none' | 'data' | 'synthetic';

/**
 * What will be published, as it stands in the form.
 */
export interface IDraft {
  kind: PublishKind;
  name: string;
  version: string;
  description: string;
  alias: string;

  /**
   * Names of files, one a line or between commas.
   */
  files: string;
  initCode: string;
  setupCode: string;

  /**
   * How calls are kept apart; empty for the server's choice.
   */
  isolation: Isolation | '';

  /**
   * Whether calls change what is elsewhere, so that none may run twice.
   */
  effects: boolean;

  /**
   * Whether the code may use the network, where the server lets code do that.
   */
  network: boolean;

  /**
   * Whether the code may write nothing but temporary files, and those that are answered.
   */
  readOnly: boolean;

  /**
   * Whether the server keeps what its newest calls sent and got.
   */
  keepBodies: boolean;

  /**
   * Calls that a worker runs at a time; empty for the server's choice.
   */
  concurrency: string;

  /**
   * Seconds that a call may take; empty for as many as the server allows.
   */
  deadline: string;
  code: string;

  /**
   * Names of what a model predicts, between commas.
   */
  response: string;
  place: Place;
  inputs: readonly IParameterDraft[];
  outputs: readonly IParameterDraft[];

  /**
   * Names that stay as they are in the session, though the notebook has them otherwise.
   */
  kept: readonly string[];

  /**
   * Whether to take the place of a version that never answered rightly.
   */
  replace: boolean;

  /**
   * Words to find the service by, between commas.
   */
  tags: string;
}

/**
 * What is wrong with a draft.
 */
export type Problem =
  | { kind: 'no-name' | 'no-version' | 'no-code' | 'no-parameters' | 'no-count' | 'no-seconds' }
  | { kind: 'no-identifier' | 'twice' | 'no-json'; name: string; key: number };

/**
 * Calls that a worker runs at a time at most.
 */
export const MOST_CALLS = 1000;

let lastKey = 0;

/**
 * Make a row of the form.
 */
export function parameterDraft(
  name = '',
  type: string | null = 'numeric',
  more: Partial<ISuggestedParameter> = {}
): IParameterDraft {
  const { example = null, source, known = true } = more;
  const text = example === null ? '' : JSON.stringify(example);
  return {
    key: ++lastKey,
    name,
    type: type ?? '',
    isKnown: known,
    example: text,
    source,
    description: more.description ?? '',
    shows: more.shows ?? 'none',
    ...(more.columns === undefined ? {} : { columns: more.columns }),
    ...(more.default === undefined ? {} : { default: more.default })
  };
}

/**
 * Begin with what the kernel suggests.
 */
export function draftOf(suggestion: ISuggestion): IDraft {
  return {
    kind: suggestion.kind,
    name: suggestion.name,
    version: suggestion.version,
    description: suggestion.description ?? '',
    alias: suggestion.alias ?? '',
    files: (suggestion.files ?? []).join(', '),
    initCode: suggestion.initCode,
    setupCode: suggestion.setupCode,
    isolation: suggestion.isolation ?? '',
    effects: suggestion.effects,
    network: suggestion.network,
    readOnly: suggestion.readOnly,
    keepBodies: suggestion.keepBodies,
    concurrency: String(suggestion.concurrency ?? ''),
    deadline: String(suggestion.deadlineSeconds ?? ''),
    code: suggestion.code,
    response: suggestion.response.join(', '),
    place: placeOf(suggestion),
    ...parametersOf(suggestion),
    kept: [],
    replace: false,
    tags: (suggestion.tags ?? []).join(', ')
  };
}

/**
 * Where the names are; a session that is not there is not needed.
 */
function placeOf({ session, snapshot }: ISuggestion): Place {
  if (snapshot !== null) {
    return { kind: 'snapshot', id: snapshot };
  }
  return session?.exists ? { kind: 'session', name: session.name } : { kind: 'notebook' };
}

/**
 * The rows that the kernel suggests.
 */
export function parametersOf(suggestion: ISuggestion): Pick<IDraft, 'inputs' | 'outputs'> {
  const toDraft = (row: ISuggestedParameter): IParameterDraft =>
    parameterDraft(row.name, row.type, row);
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
  return draft.place.kind === 'notebook'
    ? { session: [], notebook: left(...there, ...here), missing: nowhere }
    : { session: there, notebook: here, missing: nowhere };
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
  if (draft.kind === 'model') {
    return problems;
  }
  if (!draft.code.trim()) {
    problems.push({ kind: 'no-code' });
  } else if (draft.inputs.length + draft.outputs.length === 0 && !draft.files.trim()) {
    problems.push({ kind: 'no-parameters' });
  }
  const count = numberOf(draft.concurrency);
  if (count !== null && !(Number.isInteger(count) && count >= 1 && count <= MOST_CALLS)) {
    problems.push({ kind: 'no-count' });
  }
  const seconds = numberOf(draft.deadline);
  if (seconds !== null && !(seconds > 0)) {
    problems.push({ kind: 'no-seconds' });
  }
  const form = runtimeType === 'R' ? NAME_IN_R : NAME;
  return [
    ...problems,
    ...parameterProblems(draft.inputs, form),
    ...parameterProblems(draft.outputs, form)
  ];
}

/**
 * Read a number that may be left out: null where it is, and NaN where it is none.
 */
function numberOf(text: string): number | null {
  return text.trim() ? Number(text) : null;
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
  const { kind, place } = draft;
  const namesIn = (text: string): string[] =>
    text
      .split(/[,\n]/)
      .map(name => name.trim())
      .filter(Boolean);
  return {
    kind,
    function: kind === 'function' ? suggestion.function : null,
    model: kind === 'model' ? suggestion.model : null,
    response: kind === 'model' ? namesIn(draft.response) : [],
    name: draft.name.trim(),
    version: draft.version.trim(),
    code: draft.code,
    runtimeType: suggestion.runtimeType,
    initCode: draft.initCode,
    setupCode: draft.setupCode,
    isolation: draft.isolation || null,
    effects: draft.effects,
    network: draft.network,
    readOnly: draft.readOnly,
    keepBodies: draft.keepBodies,
    concurrency: numberOf(draft.concurrency),
    deadlineSeconds: numberOf(draft.deadline),
    inputs: draft.inputs.map(row => ({
      name: row.name.trim(),
      type: row.type,
      example: exampleOf(row) ?? null,
      known: row.isKnown,
      ...(row.default === undefined ? {} : { default: row.default }),
      ...saidOf(row)
    })),
    outputs: draft.outputs.map(({ name, type, isKnown }) => ({
      name: name.trim(),
      type,
      known: isKnown
    })),
    description: draft.description.trim(),
    alias: draft.alias.trim(),
    files: namesIn(draft.files),
    session: place.kind === 'session' ? place.name : null,
    snapshot: place.kind === 'snapshot' ? place.id : null,
    asInSession: place.kind === 'snapshot' ? null : [...draft.kept],
    force: false,
    replace: draft.replace,
    ...(draft.tags.trim() ? { tags: namesIn(draft.tags) } : {})
  };
}

/**
 * What is said of an input, as far as there is anything.
 */
function saidOf(row: IParameterDraft): Partial<IPublishRequest['inputs'][number]> {
  const description = row.description.trim();
  const shown = shownOf(row);
  return {
    ...(description ? { description } : {}),
    ...(row.columns && row.type === 'data.frame' ? { columns: [...row.columns] } : {}),
    ...(shown === undefined ? {} : { shown, shows: row.shows })
  };
}

/**
 * The value that callers see as an example; undefined for none.
 */
export function shownOf(row: IParameterDraft): JSONValue | undefined {
  switch (row.shows) {
    case 'data':
      return exampleOf(row);
    case 'synthetic':
      return madeUp({
        name: row.name,
        type: row.type,
        columns: row.columns?.map(column =>
          column.hideCategories ? { ...column, categories: null } : column
        )
      }) as JSONValue;
    case 'none':
      return undefined;
  }
}

export function exampleOf({ example }: IParameterDraft): JSONValue | undefined {
  try {
    return example.trim() ? (JSON.parse(example) as JSONValue) : undefined;
  } catch {
    return undefined;
  }
}
