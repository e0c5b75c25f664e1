import { plugin } from './plugin';
import { publishPlugin } from './publish';

export default [plugin, publishPlugin];
