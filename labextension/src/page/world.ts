import { ServicesApi } from '../calls/api';
import { ITranslation } from '../calls/translation';
import { Access } from './access';
import { Navigation } from './place';

/**
 * What the parts of the page share.
 */
export interface IWorld {
  access: Access;
  api: ServicesApi;
  navigation: Navigation;
  trans: ITranslation;

  /**
   * Whether documents are read without a token.
   */
  isOpen: boolean;

  /**
   * Whom to ask for access; empty where the server does not say.
   */
  contact: string;
}
