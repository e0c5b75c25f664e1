import SwaggerUI from 'swagger-ui-dist/swagger-ui-es-bundle.js';
import 'swagger-ui-dist/swagger-ui.css';

import { Access } from './access';

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
