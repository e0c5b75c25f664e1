// Puts the tutorials beside the bundle, from where the panel opens them.
const { cpSync, readdirSync } = require('node:fs');
const { join } = require('node:path');

const source = join(__dirname, '..', 'notebooks');
const target = join(__dirname, '..', 'jupyter_mlsvc', 'labextension', 'tutorials');
for (const file of readdirSync(source)) {
  if (file.endsWith('.ipynb')) {
    cpSync(join(source, file), join(target, file));
  }
}
