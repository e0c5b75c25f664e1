export * from '../calls/components';
export * from './code';
