import { JSONValue } from '@lumino/coreutils';

import { IColumnDefinition } from '../calls/api';

/**
 * The types that inputs and outputs of services have.
 */
export const PARAMETER_TYPES = [
  'logical',
  'integer',
  'numeric',
  'character',
  'vector',
  'matrix',
  'data.frame'
] as const;

/**
 * An input or output as the kernel proposes it.
 */
export interface ISuggestedParameter {
  name: string;

  /**
   * Null where nothing tells it.
   */
  type: string | null;

  /**
   * A value that the service could be called with; null where there is none.
   */
  example: JSONValue;

  /**
   * Where the value was found; of inputs only.
   */
  source?: 'cell' | 'session' | 'notebook' | 'unknown';

  /**
   * False where the type is a guess, which the publish check may correct.
   */
  known?: boolean;

  /**
   * What an input is that callers leave out, such as the default of a function's parameter.
   */
  default?: JSONValue;

  /**
   * What the cell says of it.
   */
  description?: string;

  /**
   * Columns of a data.frame, as far as they are known.
   */
  columns?: IColumnDefinition[];

  /**
   * What callers are to see; absent for nothing.
   */
  shows?: 'data' | 'synthetic';
}

/**
 * An object that the snapshot would hold.
 */
export interface IWorkspaceObject {
  name: string;
  type: string;

  /**
   * Bytes; null where it is not known.
   */
  size: number | null;

  /**
   * The type that it has as an input; null where it is known to fit none, or not known.
   */
  parameterType?: string | null;

  /**
   * Why it is sent: the session lacks it, has another one, or could not be compared.
   */
  reason?: 'missing' | 'differs' | 'not compared';
}

/**
 * What becomes a service: code, a function that a cell defines, or a fitted model.
 */
export type PublishKind = 'code' | 'function' | 'model';

/**
 * What a call may see of the calls before it.
 */
export type Isolation = 'call' | 'worker' | 'none';

/**
 * What the kernel found out about a piece of code: `jupyter_mlsvc.publishing.suggest`.
 */
export interface ISuggestion {
  kind: PublishKind;

  /**
   * Name of the function whose call the code is; null for other kinds.
   */
  function: string | null;

  /**
   * Name of the fitted model; null for other kinds.
   */
  model: string | null;

  /**
   * Names of what the model predicts; empty where nothing says it.
   */
  response: string[];
  name: string;

  /**
   * The one after the newest of that name, where the cell names none.
   */
  version: string;

  /**
   * Those there are of that name, oldest first.
   */
  versions: string[];

  /**
   * The session whose objects the service would hold; null without a server, or for a snapshot.
   * One that does not exist is not made: objects of the notebook go along without it.
   */
  session: { name: string; runtimeType: string; exists: boolean } | null;
  sessions: string[];

  /**
   * Id of the snapshot that the cell names or that was asked for; the session is null then.
   */
  snapshot: string | null;

  /**
   * One's own, newest first.
   */
  snapshots: { id: string; name: string }[];

  /**
   * Without magic lines.
   */
  code: string;

  /**
   * Language of the code, by the server's name for it.
   */
  runtimeType: string;
  initCode: string;
  setupCode: string;

  /**
   * How calls are kept apart; null for the server's choice.
   */
  isolation: Isolation | null;

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
   * Calls that a worker runs at a time; null for the server's choice.
   */
  concurrency: number | null;

  /**
   * Seconds that a call may take; null for as many as the server allows.
   */
  deadlineSeconds: number | null;
  description: string | null;
  alias: string | null;
  files: string[] | null;

  /**
   * Words to find the service by.
   */
  tags?: string[];
  inputs: ISuggestedParameter[];
  outputs: ISuggestedParameter[];

  /**
   * Names that the code reads and that are no inputs: what the session has as it is here, what is
   * to be sent from the notebook, and what is nowhere.
   */
  otherNames: { session: string[]; notebook: string[]; missing: string[] };
  objects: IWorkspaceObject[];

  /**
   * Bytes.
   */
  snapshotSize: number;

  /**
   * Objects of the notebook that the code needs and the session lacks, or has otherwise.
   */
  sendable: IWorkspaceObject[];

  /**
   * Sentences on why calls would fail; it is not published with these unless somebody insists.
   */
  problems: string[];
  warnings: string[];

  /**
   * Whether the kernel is logged in to a server.
   */
  connected: boolean;

  /**
   * Why it could not be found out; null if it was.
   */
  error: string | null;
}

/**
 * What `jupyter_mlsvc.publishing.publish` takes.
 */
export interface IPublishRequest {
  kind: PublishKind;
  function: string | null;
  model: string | null;
  response: string[];
  name: string;
  version: string;
  code: string;
  runtimeType: string;
  initCode: string;
  setupCode: string;
  isolation: Isolation | null;
  effects: boolean;
  network: boolean;
  readOnly: boolean;
  keepBodies: boolean;
  concurrency: number | null;
  deadlineSeconds: number | null;
  inputs: {
    name: string;
    type: string;
    example: JSONValue;
    known: boolean;
    default?: JSONValue;
    description?: string;
    columns?: IColumnDefinition[];
    shown?: JSONValue;
    shows?: 'none' | 'data' | 'synthetic';
  }[];
  outputs: { name: string; type: string; known: boolean }[];
  description: string;
  alias: string;
  files: string[];
  session: string | null;
  snapshot: string | null;

  /**
   * Names that stay as they are in the session; all others that differ are sent. Null for a
   * snapshot, to which nothing is sent.
   */
  asInSession: string[] | null;

  /**
   * Publish although calls will fail.
   */
  force: boolean;

  /**
   * Take the place of a version that never answered rightly.
   */
  replace: boolean;
  tags?: string[];
}

/**
 * What calling the service once showed, before it was published.
 */
export interface IPublishCheck {
  /**
   * Whether there were values to call it with.
   */
  called: boolean;
  success: boolean;
  errorMessage: string;
  outputParameters: Record<string, JSONValue>;
  consoleOutput: string;
  notes: string[];
}

/**
 * Whether a service can have a name and a version: `jupyter_mlsvc.publishing.check_name`.
 */
export interface INameCheck {
  ok: boolean;

  /**
   * What is wrong; empty for nothing.
   */
  message: string;

  /**
   * The version after the newest of that name.
   */
  next: string;

  /**
   * Whether that version is one's own and may be replaced.
   */
  neverAnswered?: boolean;
}

/**
 * A service that was published.
 */
export interface IPublished {
  name: string;
  version: string;
  url: string;

  /**
   * Text of a cell that calls it.
   */
  call: string;

  /**
   * Sentences on what there is to know, such as what the snapshot left out.
   */
  notes: string[];
  check?: IPublishCheck | null;

  /**
   * The outcome of the check in a sentence; empty where there was none.
   */
  checkText?: string;
}
