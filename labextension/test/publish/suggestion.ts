import { ISuggestion } from '../../src/publish/suggestion';

/**
 * What a kernel suggests for `species = names[clf.predict(flower)]`.
 */
export function suggestion(change: Partial<ISuggestion> = {}): ISuggestion {
  return {
    kind: 'code',
    function: null,
    model: null,
    response: [],
    name: 'iris',
    version: 'V1.0',
    versions: [],
    session: { name: 'iris', runtimeType: 'Python', exists: true },
    sessions: ['iris', 'other'],
    snapshot: null,
    snapshots: [{ id: 's1', name: 'with a model' }],
    code: 'species = names[clf.predict(flower)]',
    runtimeType: 'Python',
    initCode: '',
    setupCode: '',
    isolation: null,
    effects: false,
    network: true,
    readOnly: false,
    keepBodies: false,
    concurrency: null,
    deadlineSeconds: null,
    description: null,
    alias: null,
    files: null,
    inputs: [{ name: 'flower', type: 'vector', example: [7, 3.2], source: 'notebook' }],
    outputs: [{ name: 'species', type: 'character', example: 'setosa' }],
    otherNames: { session: ['names'], notebook: ['clf'], missing: [] },
    objects: [{ name: 'names', type: 'list', size: 80 }],
    snapshotSize: 80,
    sendable: [{ name: 'clf', type: 'sklearn.svm.SVC', size: 4200, reason: 'missing' }],
    problems: [],
    warnings: [],
    connected: true,
    error: null,
    ...change
  };
}
