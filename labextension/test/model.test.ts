import { afterEach, describe, expect, it } from 'vitest';

import { groupByName, IServiceSource, ServicesModel } from '../src/model';
import { IServiceVersion } from '../src/service';

/**
 * Services kept in memory, oldest first as the server lists them.
 */
class Shelf implements IServiceSource {
  failure: Error | null = null;

  constructor(private _services: IServiceVersion[]) {}

  async listServices(): Promise<IServiceVersion[]> {
    await Promise.resolve();
    if (this.failure) {
      throw this.failure;
    }
    return this._services;
  }

  async deleteService(name: string, version: string): Promise<void> {
    await this.listServices();
    this._services = this._services.filter(
      service => service.name !== name || service.version !== version
    );
  }
}

const SERVICES: IServiceVersion[] = [
  { name: 'Iris', version: 'V1.0' },
  { name: 'Cars', version: '7' },
  { name: 'Iris', version: 'V2.0' }
];

const names = (model: ServicesModel): string[] =>
  model.groups.flatMap(({ name, versions }) => versions.map(v => `${name} ${v.version}`));

describe('groupByName', () => {
  it('sorts services by name and versions newest first', () => {
    expect(groupByName(SERVICES)).toEqual([
      { name: 'Cars', versions: [SERVICES[1]] },
      { name: 'Iris', versions: [SERVICES[2], SERVICES[0]] }
    ]);
  });
});

describe('ServicesModel', () => {
  const shelf = (): Shelf => new Shelf(SERVICES);
  let model: ServicesModel;

  afterEach(() => {
    model.dispose();
  });

  it('asks nothing until somebody refreshes', () => {
    model = new ServicesModel(shelf());

    expect(model.isLoaded).toBe(false);
    expect(model.groups).toEqual([]);
  });

  it('lists on refresh and tells that it changed', async () => {
    model = new ServicesModel(shelf());
    let changes = 0;
    model.changed.connect(() => (changes += 1));

    await model.refresh();

    expect(names(model)).toEqual(['Cars 7', 'Iris V2.0', 'Iris V1.0']);
    expect(changes).toBe(1);
  });

  it('keeps what it had when a refresh fails, and recovers', async () => {
    const source = shelf();
    model = new ServicesModel(source);
    await model.refresh();

    source.failure = new Error('The server is gone.');
    await model.refresh();
    expect(model.error).toBe('The server is gone.');
    expect(names(model)).toHaveLength(3);

    source.failure = null;
    await model.refresh();
    expect(model.error).toBeNull();
  });

  it('lists again after a deletion', async () => {
    model = new ServicesModel(shelf());

    await model.deleteService('Iris', 'V2.0');

    expect(names(model)).toEqual(['Cars 7', 'Iris V1.0']);
  });

  it('passes on why a deletion failed', async () => {
    const source = shelf();
    source.failure = new Error('Not yours.');
    model = new ServicesModel(source);

    await expect(model.deleteService('Iris', 'V2.0')).rejects.toThrow('Not yours.');
  });
});
