import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.{ts,tsx}'],
    setupFiles: ['test/setup.ts'],
    testTimeout: 20_000,
    // JupyterLab ships ES modules that Node takes for CommonJS; let vite read them.
    server: { deps: { inline: [/@jupyter/, /@lumino/] } }
  }
});
