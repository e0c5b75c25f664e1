import { defineConfig } from 'vite';

/**
 * Builds the page for callers into the server's package; the panel is built by jupyter-builder.
 */
export default defineConfig({
  // Whatever proxies leave before the server's paths.
  base: './',
  publicDir: false,
  build: {
    outDir: '../server_ext/jupyter_mlsvc_server/api/static',
    emptyOutDir: true,
    assetsDir: '',
    manifest: 'manifest.json',
    license: { fileName: 'licenses.txt' },
    modulePreload: false,
    rolldownOptions: { input: 'src/page/index.tsx' },
    // Of Swagger UI, which only its own page loads.
    chunkSizeWarningLimit: 2000
  }
});
