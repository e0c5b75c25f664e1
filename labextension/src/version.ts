/**
 * Version of this package, as in package.json; the server's must be the same.
 */
export const VERSION = '0.1.0';
