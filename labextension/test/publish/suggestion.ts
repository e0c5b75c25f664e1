import { ISuggestion } from '../../src/publish/suggestion';

/**
 * What a kernel suggests for `species = names[clf.predict(flower)]`.
 */
export function suggestion(change: Partial<ISuggestion> = {}): ISuggestion {
  return {
    name: 'iris',
    version: 'V1.0',
    session: { name: 'iris', runtimeType: 'Python', exists: true },
    sessions: ['iris', 'other'],
    snapshot: null,
    snapshots: [{ id: 's1', name: 'with a model' }],
    code: 'species = names[clf.predict(flower)]',
    runtimeType: 'Python',
    initCode: '',
    description: null,
    alias: null,
    files: null,
    inputs: [{ name: 'flower', type: 'vector', example: [7, 3.2], source: 'notebook' }],
    outputs: [{ name: 'species', type: 'character', example: 'setosa' }],
    otherNames: { session: ['names'], notebook: ['clf'], missing: [] },
    objects: [{ name: 'names', type: 'list', size: 80 }],
    snapshotSize: 80,
    sendable: [{ name: 'clf', type: 'sklearn.svm.SVC', size: 4200 }],
    warnings: [],
    connected: true,
    error: null,
    ...change
  };
}
