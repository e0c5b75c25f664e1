export { publishPlugin } from './plugin';
