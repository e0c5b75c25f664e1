// What JupyterLab's widgets use and jsdom lacks.
if (typeof window !== 'undefined') {
  Object.assign(window, {
    DragEvent: MouseEvent,
    matchMedia: () => ({ matches: false, addEventListener: () => undefined }),
    requestIdleCallback: (callback: () => void) => setTimeout(callback)
  });
}
