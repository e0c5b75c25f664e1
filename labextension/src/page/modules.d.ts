/**
 * What the page uses of packages that come without types.
 */

declare module 'react-dom/client' {
  export function createRoot(container: Element): {
    render(element: React.ReactElement): void;
    unmount(): void;
  };
}

declare module 'swagger-ui-dist/swagger-ui-es-bundle.js' {
  interface IRequest {
    headers: Record<string, string>;
    credentials: string;
  }

  export default function SwaggerUI(options: {
    domNode: HTMLElement;
    spec: object;
    queryConfigEnabled: boolean;
    persistAuthorization: boolean;
    validatorUrl: null;
    deepLinking: boolean;
    requestInterceptor: (request: IRequest) => IRequest;
  }): unknown;
}
