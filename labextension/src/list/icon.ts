import { iconOf } from '../icon';

/**
 * An arrow to the list that an item was opened from.
 */
export const backIcon = iconOf('back', 'M20 11H7.83l5.59-5.59L12 4l-8 8 8 8 1.41-1.41L7.83 13H20z');

/**
 * A camera: what is there now is kept.
 */
export const snapshotIcon = iconOf(
  'snapshot',
  'M9 3L7.17 5H4a2 2 0 0 0-2 2v12a2 2 0 0 0 2 2h16a2 2 0 0 0 2-2V7a2 2 0 0 0-2-2h-3.17L15 3zm3 15a5 5 0 1 1 0-10 5 5 0 0 1 0 10zm0-8a3 3 0 1 0 0 6 3 3 0 0 0 0-6z'
);

/**
 * An arrow into a frame: a snapshot goes into a session.
 */
export const loadIcon = iconOf(
  'load',
  'M11 7L9.6 8.4l2.6 2.6H2v2h10.2l-2.6 2.6L11 17l5-5z',
  'M20 3h-8v2h8v14h-8v2h8a2 2 0 0 0 2-2V5a2 2 0 0 0-2-2z'
);

/**
 * A switch: what runs is ended.
 */
export const powerIcon = iconOf(
  'power',
  'M11 3h2v10h-2z',
  'M17.8 5.2l-1.4 1.4a7 7 0 1 1-8.8 0L6.2 5.2a9 9 0 1 0 11.6 0z'
);
