import { JSONValue } from '@lumino/coreutils';

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
  type: string;

  /**
   * A value that the service could be called with; null where there is none.
   */
  example: JSONValue;

  /**
   * Where the value was found; of inputs only.
   */
  source?: 'cell' | 'session' | 'notebook' | 'unknown';
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
}

/**
 * What the kernel found out about a piece of code: `jupyter_mlsvc.publishing.suggest`.
 */
export interface ISuggestion {
  name: string;
  version: string;

  /**
   * The session whose snapshot the service would hold; null without a server, or for a snapshot.
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
  description: string | null;
  alias: string | null;
  files: string[] | null;
  inputs: ISuggestedParameter[];
  outputs: ISuggestedParameter[];

  /**
   * Names that the code reads and that are no inputs, by where they were found.
   */
  otherNames: { session: string[]; notebook: string[]; missing: string[] };
  objects: IWorkspaceObject[];

  /**
   * Bytes.
   */
  snapshotSize: number;

  /**
   * Objects of the notebook that the code needs and the session lacks.
   */
  sendable: IWorkspaceObject[];
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
  name: string;
  version: string;
  code: string;
  runtimeType: string;
  initCode: string;
  inputs: { name: string; type: string; example: JSONValue }[];
  outputs: { name: string; type: string }[];
  description: string;
  alias: string;
  files: string[];
  session: string | null;
  snapshot: string | null;

  /**
   * Names of the notebook to set in the session before its snapshot is taken.
   */
  send: string[];
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
}
