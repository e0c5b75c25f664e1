export * from './buttons';
export * from './code';
export * from './focus';
export * from './format';
export * from './signal';
export * from './states';
export * from './tabs';
export * from './time';
