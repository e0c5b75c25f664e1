import { defineConfig } from 'vite';

/**
 * Builds what widgets draw in a notebook into the client's package: a module and a style sheet,
 * which anywidget sends along with each widget.
 */
export default defineConfig({
  publicDir: false,
  build: {
    outDir: '../jupyter_mlsvc/widgets/static',
    emptyOutDir: true,
    assetsDir: '',
    license: { fileName: 'licenses.txt' },
    modulePreload: false,
    rolldownOptions: {
      input: { widget: 'src/widget/index.tsx' },
      preserveEntrySignatures: 'strict',
      output: { entryFileNames: '[name].js', assetFileNames: '[name][extname]' }
    }
  }
});
