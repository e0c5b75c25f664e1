import { describe, expect, it } from 'vitest';

import { placeOf } from '../../src/page/place';

describe('placeOf', () => {
  it.each([
    [[''], { kind: 'catalogue' }],
    [['services'], { kind: 'catalogue' }],
    [['services', 'a/b'], { kind: 'service', name: 'a/b', version: null }],
    [['services', 'a', '1'], { kind: 'service', name: 'a', version: '1' }],
    [['API', 'a', '1'], { kind: 'service', name: 'a', version: '1' }],
    [['docs'], { kind: 'documentation', service: null }],
    [['docs', 'a', '1'], { kind: 'documentation', service: { name: 'a', version: '1' } }],
    [
      ['api', 'a', '1', 'swagger.json'],
      { kind: 'answer', path: ['api', 'a', '1', 'swagger.json'] }
    ],
    [['status'], { kind: 'answer', path: ['status'] }]
  ])('reads %j', (parts, place) => {
    expect(placeOf(parts)).toEqual(place);
  });
});
