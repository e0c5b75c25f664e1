/**
 * Names that others may rely on.
 */

export const SESSIONS_VIEW = 'sessions';

export const SessionCommandIDs = {
  open: 'mlsvc:open-session',
  start: 'mlsvc:start-session',
  interrupt: 'mlsvc:interrupt-session',
  snapshot: 'mlsvc:snapshot-session',
  close: 'mlsvc:close-session'
} as const;
