import * as React from 'react';
import { createRoot } from 'react-dom/client';

import { english } from '../page/translation';
import '../../style/base.css';
import '../../style/services.css';
import '../../style/bare.css';
import '../../style/widget.css';
import { FormView, SharedForm } from './form';
import { followLook } from './look';
import { IWidgetModel } from './model';
import { KernelRequests } from './requests';

/**
 * Draw a view of a widget, as anywidget wants it done.
 *
 * @returns What takes it away again.
 */
function render({ model, el }: { model: IWidgetModel; el: HTMLElement }): () => void {
  const trans = english;
  const requests = new KernelRequests(model);
  const shared = new SharedForm(model, requests, trans);
  el.classList.add('jp-Mlsvc', 'jp-MlsvcWidget');
  const stopFollowing = followLook(el);
  const root = createRoot(el);
  root.render(<FormView shared={shared} requests={requests} trans={trans} />);
  return () => {
    stopFollowing();
    root.unmount();
    shared.dispose();
    requests.dispose();
  };
}

export default { render };
