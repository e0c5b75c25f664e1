import { LabIcon } from '@jupyterlab/ui-components';

/**
 * An arrow to the list that an item was opened from.
 */
export const backIcon = new LabIcon({
  name: 'jupyter-mlsvc:back',
  svgstr: `<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 24 24">
  <path class="jp-icon3" fill="#616161" d="M20 11H7.83l5.59-5.59L12 4l-8 8 8 8 1.41-1.41L7.83 13H20z"/>
</svg>`
});

/**
 * A camera: what is there now is kept.
 */
export const snapshotIcon = new LabIcon({
  name: 'jupyter-mlsvc:snapshot',
  svgstr: `<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 24 24">
  <path class="jp-icon3" fill="#616161" d="M9 3L7.17 5H4a2 2 0 0 0-2 2v12a2 2 0 0 0 2 2h16a2 2 0 0 0 2-2V7a2 2 0 0 0-2-2h-3.17L15 3zm3 15a5 5 0 1 1 0-10 5 5 0 0 1 0 10zm0-8a3 3 0 1 0 0 6 3 3 0 0 0 0-6z"/>
</svg>`
});

/**
 * An arrow into a frame: a snapshot goes into a session.
 */
export const loadIcon = new LabIcon({
  name: 'jupyter-mlsvc:load',
  svgstr: `<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 24 24">
  <g class="jp-icon3" fill="#616161">
    <path d="M11 7L9.6 8.4l2.6 2.6H2v2h10.2l-2.6 2.6L11 17l5-5z"/>
    <path d="M20 3h-8v2h8v14h-8v2h8a2 2 0 0 0 2-2V5a2 2 0 0 0-2-2z"/>
  </g>
</svg>`
});

/**
 * A switch: what runs is ended.
 */
export const powerIcon = new LabIcon({
  name: 'jupyter-mlsvc:power',
  svgstr: `<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 24 24">
  <g class="jp-icon3" fill="#616161">
    <path d="M11 3h2v10h-2z"/>
    <path d="M17.8 5.2l-1.4 1.4a7 7 0 1 1-8.8 0L6.2 5.2a9 9 0 1 0 11.6 0z"/>
  </g>
</svg>`
});
