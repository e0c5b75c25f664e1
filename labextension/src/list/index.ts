export * from './ask';
export * from './choice';
export * from './detail';
export * from './duration';
export * from './icon';
export * from './listbox';
export * from './model';
export * from './view';
