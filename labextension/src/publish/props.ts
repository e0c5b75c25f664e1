import { TranslationBundle } from '@jupyterlab/translation';

import { IDraft, Problem } from './draft';
import { INameCheck, ISuggestion } from './suggestion';

/**
 * What the parts of the form share.
 */
export interface IFormProps {
  suggestion: ISuggestion;
  draft: IDraft;
  problems: readonly Problem[];

  /**
   * Whether name and version can be taken; null where that is not known.
   */
  naming: INameCheck | null;
  isDisabled: boolean;
  trans: TranslationBundle;
  edit: (change: Partial<IDraft>) => void;
}
