// @vitest-environment jsdom
import { beforeEach, describe, expect, it } from 'vitest';

import { IServiceKey, KeysModel } from '../../src/services/keys';
import { World } from '../world';

const V1 = { name: 'Iris', version: 'V1.0' };
const V2 = { name: 'Iris', version: 'V2.0' };
const WANTED = { services: ['Iris/V1.0'], note: '', expiresInSeconds: null, origins: [] };

function row(name: string, services: string[] | null, creationTime = '1'): IServiceKey {
  return {
    ...{ id: name, name, services, note: '', maker: 'ann', state: 'active', creationTime },
    ...{ expirationTime: null, rate: null, origins: [], calls: 0, lastUse: null }
  };
}

describe('KeysModel', () => {
  let world: World;
  let keys: KeysModel;

  beforeEach(() => {
    world = new World();
    keys = new KeysModel(world.mlsvc.requests, world.mlsvc.events);
  });

  it('lists the keys that are for a version', async () => {
    const rows = [
      row('all', null, '1'),
      row('name', ['Iris'], '3'),
      row('first', ['Other', 'Iris/V1.0'], '2'),
      row('other', ['Iri', 'Other/V1.0'])
    ];
    world.answers.set('GET keys', rows);
    await keys.list.load();

    expect(keys.for(V1).map(({ name }) => name)).toEqual(['name', 'first', 'all']);
    expect(keys.for(V2).map(({ name }) => name)).toEqual(['name', 'all']);
  });

  it('shows a new key where it was made, until it is left or revoked', async () => {
    world.answers.set('POST keys', { key: 'mlsvckey_x', serviceKey: row('k', ['Iris/V1.0']) });
    world.answers.set('GET keys', [row('k', ['Iris/V1.0'])]);
    world.answers.set('DELETE keys/k', 'Revoked.');

    await keys.create(WANTED, V1);
    expect(keys.made(V1)?.key).toBe('mlsvckey_x');
    expect(keys.made(V2)).toBeNull();
    keys.forget();
    expect(keys.made(V1)).toBeNull();

    await keys.create(WANTED, V1);
    await keys.revoke('k');
    expect(keys.made(V1)).toBeNull();
    expect(world.asked).toContain('DELETE keys/k');
  });
});
