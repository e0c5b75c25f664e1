/**
 * Names that others may rely on.
 */

export const PLUGIN_ID = 'jupyter-mlsvc:services';

export const PANEL_ID = 'jupyter-mlsvc-services';

export const CommandIDs = {
  open: 'mlsvc:open-services',
  refresh: 'mlsvc:refresh-services',
  deleteService: 'mlsvc:delete-service'
} as const;
