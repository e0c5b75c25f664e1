/**
 * Puts what is said into the reader's language; as the bundles of JupyterLab do.
 */
export interface ITranslation {
  /**
   * Translate a text; `%1` and its like are replaced by the arguments.
   */
  __(text: string, ...args: unknown[]): string;

  /**
   * Translate a text that depends on a number, which is `%1`.
   */
  _n(one: string, many: string, count: number, ...args: unknown[]): string;
}
