// @vitest-environment jsdom
import { nullTranslator } from '@jupyterlab/translation';
import { Widget } from '@lumino/widgets';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import { ServicesModel } from '../src/model';
import { ServicesPanel } from '../src/panel';
import { IServiceVersion } from '../src/service';

const SERVICES: IServiceVersion[] = [
  { name: 'Iris', version: 'V1.0', myPermissionOnService: 'read/write' },
  { name: 'Iris', version: 'V2.0', description: 'With species', myPermissionOnService: 'read only' }
];

describe('ServicesPanel', () => {
  let listed: () => Promise<IServiceVersion[]>;
  let deleted: string[];
  let panel: ServicesPanel;

  beforeEach(() => {
    listed = () => Promise.resolve(SERVICES);
    deleted = [];
    const model = new ServicesModel({
      listServices: () => listed(),
      deleteService: () => Promise.resolve()
    });
    panel = new ServicesPanel(
      model,
      {
        refresh: () => void model.refresh(),
        deleteService: (name, version) => deleted.push(`${name} ${version}`)
      },
      nullTranslator.load('jupyter_mlsvc')
    );
  });

  afterEach(() => {
    panel.dispose();
  });

  const show = (): void => {
    panel.hide();
    Widget.attach(panel, document.body);
    panel.show();
  };
  const texts = (selector: string): (string | null)[] =>
    [...panel.node.querySelectorAll(selector)].map(node => node.textContent);
  const button = (label: string): HTMLButtonElement | null =>
    panel.node.querySelector(`button[aria-label="${label}"]`);

  it('lists versions newest first beneath their service', async () => {
    show();

    await vi.waitFor(() => {
      expect(texts('h3')).toEqual(['Iris']);
    });
    expect(texts('.jp-Mlsvc-versionName')).toEqual(['V2.0', 'V1.0']);
  });

  it('offers to delete only what its user may delete', async () => {
    show();
    await vi.waitFor(() => {
      expect(button('Delete Iris V1.0')).not.toBeNull();
    });

    button('Delete Iris V1.0')?.click();

    expect(deleted).toEqual(['Iris V1.0']);
    expect(button('Delete Iris V2.0')).toBeNull();
  });

  it('says that it is loading until the server answers', async () => {
    listed = () => new Promise(() => undefined);
    show();

    await vi.waitFor(() => {
      expect(texts('[role=status]')).toEqual(['Loading…']);
    });
  });

  it('says how to publish when there is nothing', async () => {
    listed = () => Promise.resolve([]);
    show();

    await vi.waitFor(() => {
      expect(texts('[role=status]')[0]).toContain('%publish');
    });
  });

  it("shows the server's message, and lists when the button is pressed again", async () => {
    listed = () => Promise.reject(new Error('Log in again.'));
    show();
    await vi.waitFor(() => {
      expect(texts('[role=alert]')[0]).toContain('Log in again.');
    });

    listed = () => Promise.resolve(SERVICES);
    button('Refresh the list of services')?.click();

    await vi.waitFor(() => {
      expect(texts('[role=alert]')).toEqual([]);
    });
    expect(texts('h3')).toEqual(['Iris']);
  });
});
