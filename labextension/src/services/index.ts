export { createServicesView } from './view';
