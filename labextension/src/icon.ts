import { LabIcon } from '@jupyterlab/ui-components';

/**
 * An icon of ours, in the colour of Jupyter's own.
 *
 * @param paths - What is drawn, in a field of 24 by 24.
 */
export function iconOf(name: string, ...paths: string[]): LabIcon {
  return new LabIcon({
    name: `jupyter-mlsvc:${name}`,
    svgstr: `<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 24 24">
  <g class="jp-icon3" fill="#616161">
    ${paths.map(path => `<path d="${path}"/>`).join('\n    ')}
  </g>
</svg>`
  });
}

/**
 * A stack of versions with an opening: what was a notebook is now a service.
 */
export const servicesIcon = iconOf(
  'services',
  'M4 3h16a1 1 0 0 1 1 1v4a1 1 0 0 1-1 1H4a1 1 0 0 1-1-1V4a1 1 0 0 1 1-1zm2 2v2h2V5z',
  'M4 10.5h16a1 1 0 0 1 1 1v1h-9a3 3 0 0 0-3 3v1H4a1 1 0 0 1-1-1v-4a1 1 0 0 1 1-1zm2 2v2h2v-2z',
  'M12 14.5h8a1 1 0 0 1 1 1V20a1 1 0 0 1-1 1h-8a1 1 0 0 1-1-1v-4.5a1 1 0 0 1 1-1zm2.5 1.25v4l3.5-2z'
);
