import { iconOf } from '../icon';

/**
 * An arrow that leaves a tray: code goes out to be called.
 */
export const publishIcon = iconOf(
  'publish',
  'M12 3l5.5 5.5-1.4 1.4-3.1-3.07V16h-2V6.83L7.9 9.9 6.5 8.5z',
  'M4 13h2v6h12v-6h2v7a1 1 0 0 1-1 1H5a1 1 0 0 1-1-1z'
);
