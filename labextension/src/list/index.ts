export * from './ask';
export * from './choice';
export * from './detail';
export * from './icon';
export * from './keys';
export * from './listbox';
export * from './model';
export * from './view';
