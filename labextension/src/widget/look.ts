/**
 * Give a view colours of its own where its page has none of Jupyter's, dark ones on a dark page.
 *
 * @returns What stops following the page.
 */
export function followLook(view: HTMLElement): () => void {
  const scheme = window.matchMedia('(prefers-color-scheme: dark)');
  const apply = (): void => {
    // As a part of the page: before it has a place there, nothing is inherited.
    const style = getComputedStyle(document.body);
    const isBare = style.getPropertyValue('--jp-layout-color1').trim() === '';
    view.classList.toggle('jp-MlsvcBare', isBare);
    view.classList.toggle('jp-mod-dark', isBare && isDark(scheme.matches));
    view.classList.toggle('jp-mod-light', isBare && !isDark(scheme.matches));
  };
  apply();
  const observer = new MutationObserver(apply);
  for (const element of [document.documentElement, document.body]) {
    observer.observe(element, { attributeFilter: ['class', 'theme', 'style'] });
  }
  scheme.addEventListener('change', apply);
  return () => {
    observer.disconnect();
    scheme.removeEventListener('change', apply);
  };
}

/**
 * Whether the page is dark: VS Code and Colab say so, others are as the system is.
 */
function isDark(isSystemDark: boolean): boolean {
  const classes = document.body.classList;
  if (classes.contains('vscode-light') || classes.contains('vscode-high-contrast-light')) {
    return false;
  }
  if (classes.contains('vscode-dark') || classes.contains('vscode-high-contrast')) {
    return true;
  }
  const theme = document.documentElement.getAttribute('theme');
  return theme === null ? isSystemDark : theme === 'dark';
}
