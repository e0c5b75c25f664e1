import { describe, expect, it } from 'vitest';

import {
  draftOf,
  otherNames,
  parameterDraft,
  problemsOf,
  requestOf,
  typeOfObject
} from '../../src/publish/draft';
import { suggestion } from './suggestion';

describe('draftOf', () => {
  it('begins with what the kernel suggests', () => {
    const draft = draftOf(suggestion({ description: 'Tells species', files: ['a.png'] }));

    expect(draft).toMatchObject({
      name: 'iris',
      description: 'Tells species',
      files: 'a.png',
      place: { kind: 'session', name: 'iris' }
    });
    expect(draft.inputs[0]).toMatchObject({ name: 'flower', example: '[7,3.2]' });
  });

  it('takes the snapshot that the cell names', () => {
    expect(draftOf(suggestion({ session: null, snapshot: 's1' })).place).toEqual({
      kind: 'snapshot',
      id: 's1'
    });
  });

  it('knows of no session where there is none', () => {
    const session = { name: 'iris', runtimeType: 'Python', exists: false };

    expect(draftOf(suggestion({ session })).place).toEqual({ kind: 'notebook' });
    expect(draftOf(suggestion()).place).toEqual({ kind: 'session', name: 'iris' });
  });
});

describe('otherNames', () => {
  it('takes back an input that was removed, to where it was found', () => {
    const found = suggestion();
    const draft = { ...draftOf(found), inputs: [] };

    expect(otherNames(found, draft).notebook).toEqual(['clf', 'flower']);
  });

  it('no longer has a name that was made an input', () => {
    const found = suggestion();
    const draft = draftOf(found);
    const more = { ...draft, inputs: [...draft.inputs, parameterDraft('names')] };

    expect(otherNames(found, more).session).toEqual([]);
  });

  it('takes all from the notebook without a session', () => {
    const found = suggestion({
      otherNames: { session: ['names'], notebook: ['clf'], missing: ['typo'] }
    });

    expect(otherNames(found, { ...draftOf(found), place: { kind: 'notebook' } })).toEqual({
      session: [],
      notebook: ['names', 'clf'],
      missing: ['typo']
    });
  });
});

describe('problemsOf', () => {
  const draft = draftOf(suggestion());
  const row = draft.inputs[0] ?? parameterDraft();

  it.each([
    ['no-name', { name: ' ' }],
    ['no-version', { version: '' }],
    ['no-code', { code: '\n' }],
    ['no-parameters', { inputs: [], outputs: [] }],
    ['no-identifier', { inputs: [{ ...row, name: '1x' }] }],
    ['no-identifier', { outputs: [{ ...row, name: '' }] }],
    ['twice', { inputs: [row, { ...row, key: 0 }] }],
    ['no-json', { inputs: [{ ...row, example: "{'a': 1}" }] }]
  ])('finds %s', (kind, change) => {
    expect(problemsOf({ ...draft, ...change })).toMatchObject([{ kind }]);
  });

  it('finds none in what was suggested, nor in names of other scripts', () => {
    expect(problemsOf(draft)).toEqual([]);
    expect(problemsOf({ ...draft, inputs: [{ ...row, name: 'größe_花' }] })).toEqual([]);
  });

  it('needs neither code nor parameters for a model, and no parameters for files', () => {
    const bare = { ...draft, inputs: [], outputs: [] };

    expect(problemsOf({ ...bare, kind: 'model', code: '' })).toEqual([]);
    expect(problemsOf({ ...bare, files: 'plot.png' })).toEqual([]);
  });

  it('takes names of R for code in R only', () => {
    const dotted = { ...draft, inputs: [{ ...row, name: 'new.cars' }] };

    expect(problemsOf(dotted, 'R')).toEqual([]);
    expect(problemsOf(dotted)).toMatchObject([{ kind: 'no-identifier' }]);
    expect(problemsOf({ ...draft, inputs: [{ ...row, name: '.1x' }] }, 'R')).toHaveLength(1);
  });
});

describe('requestOf', () => {
  it('shows callers what somebody chose, and nothing before', () => {
    const columns = [{ name: 'age', type: 'number' }];
    const data = parameterDraft('df', 'data.frame', { example: { age: [40] }, columns });
    const [quiet, own, madeUp] = requestOf(suggestion(), {
      ...draftOf(suggestion()),
      tags: 'credit, risk',
      inputs: [
        data,
        { ...data, shows: 'data', description: ' Who asks. ' },
        { ...data, shows: 'synthetic' }
      ]
    }).inputs;

    expect(quiet).not.toHaveProperty('shown');
    expect(own).toMatchObject({ shown: { age: [40] }, shows: 'data', description: 'Who asks.' });
    expect(madeUp).toMatchObject({ shown: { age: [1, 1] }, columns });
  });

  it('leaves to the session what is kept there', () => {
    const found = suggestion();
    const draft = draftOf(found);

    expect(requestOf(found, draft)).toMatchObject({
      session: 'iris',
      snapshot: null,
      asInSession: [],
      force: false,
      replace: false,
      inputs: [{ name: 'flower', type: 'vector', example: [7, 3.2], known: true }]
    });
    expect(requestOf(found, { ...draft, kept: ['clf'] }).asInSession).toEqual(['clf']);
  });

  it('names no session where the notebook has all', () => {
    const session = { name: 'iris', runtimeType: 'Python', exists: false };
    const found = suggestion({ session });

    expect(requestOf(found, draftOf(found))).toMatchObject({ session: null, asInSession: [] });
  });

  it('sends nothing where a snapshot is published', () => {
    const found = suggestion();
    const draft = { ...draftOf(found), place: { kind: 'snapshot', id: 's1' } as const };

    expect(requestOf(found, draft)).toMatchObject({
      session: null,
      snapshot: 's1',
      asInSession: null
    });
  });

  it('says which types are guesses, and what inputs are that callers leave out', () => {
    const found = suggestion({
      inputs: [
        { name: 'a', type: 'vector', example: null, known: false },
        { name: 'b', type: 'numeric', example: 2, known: true, default: null }
      ]
    });

    expect(requestOf(found, draftOf(found)).inputs).toEqual([
      { name: 'a', type: 'vector', example: null, known: false },
      { name: 'b', type: 'numeric', example: 2, known: true, default: null }
    ]);
  });

  it('publishes a model by its name, or the code of its cell', () => {
    const found = suggestion({ kind: 'model', model: 'clf', response: ['species'] });
    const draft = draftOf(found);

    expect(requestOf(found, draft)).toMatchObject({
      kind: 'model',
      model: 'clf',
      response: ['species']
    });
    expect(requestOf(found, { ...draft, kind: 'code' })).toMatchObject({
      kind: 'code',
      model: null,
      response: []
    });
  });

  it('says the language of the code', () => {
    const found = suggestion({ runtimeType: 'R' });

    expect(requestOf(found, draftOf(found)).runtimeType).toBe('R');
  });

  it('reads files between commas and lines', () => {
    const found = suggestion();

    expect(requestOf(found, { ...draftOf(found), files: 'a.png, b.csv\n c.txt,' }).files).toEqual([
      'a.png',
      'b.csv',
      'c.txt'
    ]);
  });
});

describe('typeOfObject', () => {
  it('takes the class of the object in the session', () => {
    const objects = [{ name: 'table', type: 'pandas.core.frame.DataFrame', size: 1 }];

    expect(typeOfObject(suggestion({ objects }), 'table')).toBe('data.frame');
    expect(typeOfObject(suggestion(), 'unknown')).toBe('numeric');
  });

  it('believes the kernel where that knows better', () => {
    const objects = [{ name: 'cars', type: 'data.frame', size: 1, parameterType: 'data.frame' }];

    expect(typeOfObject(suggestion({ objects }), 'cars')).toBe('data.frame');
  });
});
