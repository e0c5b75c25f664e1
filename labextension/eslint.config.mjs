import js from '@eslint/js';
import jupyter from '@jupyter/eslint-plugin';
import prettier from 'eslint-config-prettier';
import { defineConfig } from 'eslint/config';
import tseslint from 'typescript-eslint';

// What the page for callers shares with the panel works without JupyterLab, and without the panel.
const without = outside => ({
  'no-restricted-imports': [
    'error',
    { patterns: [{ group: ['@jupyterlab/*'] }, { regex: outside }] }
  ]
});

export default defineConfig([
  {
    ignores: [
      'lib',
      'src/calls/openapi.ts',
      'node_modules',
      'style',
      '**/*.cjs',
      '**/*.mjs',
      '**/*.mts'
    ]
  },
  js.configs.recommended,
  { plugins: { jupyter } },
  jupyter.configs.recommended,
  {
    files: ['**/*.ts', '**/*.tsx'],
    extends: [tseslint.configs.strictTypeChecked],
    languageOptions: {
      parserOptions: { project: 'tsconfig.test.json', tsconfigRootDir: import.meta.dirname }
    },
    rules: {
      '@typescript-eslint/naming-convention': [
        'error',
        {
          selector: 'interface',
          format: ['PascalCase'],
          custom: { regex: '^I[A-Z]', match: true }
        }
      ],
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
      curly: ['error', 'all'],
      eqeqeq: 'error',
      'prefer-arrow-callback': 'error',
      // The panel is small, and the restorer wants it at start.
      'jupyter/prefer-lazy-imports': 'off'
    }
  },
  { files: ['src/calls/*'], rules: without('^\\.\\./') },
  { files: ['src/calls/components/*'], rules: without('^\\.\\./\\.\\./') },
  { files: ['src/page/*'], rules: without('^\\.\\./(?!calls/|\\.\\./style/)') },
  { files: ['src/widget/*'], rules: without('^\\.\\./(?!calls/|page/|\\.\\./style/)') },
  {
    // What a test makes ends with it.
    files: ['test/**'],
    rules: { 'jupyter/require-disposable-ownership': 'off' }
  },
  prettier
]);
