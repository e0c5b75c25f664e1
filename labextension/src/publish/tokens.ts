/**
 * Names that others may rely on.
 */

export const PUBLISH_PLUGIN_ID = 'jupyter-mlsvc:publish';

export const PublishCommandIDs = {
  publishCell: 'mlsvc:publish-cell',
  insertExample: 'mlsvc:insert-example'
} as const;
