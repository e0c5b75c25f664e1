import SwaggerUI from 'swagger-ui-dist/swagger-ui-es-bundle.js';
import 'swagger-ui-dist/swagger-ui.css';

import { Access } from './access';

const DARK = window.matchMedia('(prefers-color-scheme: dark)');

/**
 * Give the page the class by which the styles of Swagger UI are dark, or take it away.
 */
function followScheme(): void {
  document.documentElement.classList.toggle('dark-mode', DARK.matches);
}

followScheme();
DARK.addEventListener('change', followScheme);

/**
 * Draw a document with Swagger UI; what is tried out there has the token of whoever signed in.
 */
export function showDocument(slot: HTMLElement, spec: object, access: Access): void {
  SwaggerUI({
    domNode: slot,
    spec,
    // Nothing of it is to be read by an address, kept in the browser, or asked of others.
    queryConfigEnabled: false,
    persistAuthorization: false,
    validatorUrl: null,
    deepLinking: false,
    requestInterceptor: request => {
      request.headers = { ...request.headers, ...access.headers };
      request.credentials = 'omit';
      return request;
    }
  });
}
