import * as React from 'react';
import { createRoot } from 'react-dom/client';

import { english } from '../page/translation';
import '../../style/base.css';
import '../../style/services.css';
import '../../style/document.css';
import '../../style/bare.css';
import '../../style/widget.css';
import { FormView, SharedForm } from './form';
import { followLook } from './look';
import { IWidgetModel } from './model';
import { PanelModel } from './panel';
import { KernelRequests } from './requests';
import { PanelView } from './view';

/**
 * Draw a view of a widget, as anywidget wants it done.
 *
 * @returns What takes it away again.
 */
function render({ model, el }: { model: IWidgetModel; el: HTMLElement }): () => void {
  const trans = english;
  const requests = new KernelRequests(model);
  el.classList.add('jp-Mlsvc', 'jp-MlsvcWidget');
  const stopFollowing = followLook(el);
  const root = createRoot(el);
  let shown: SharedForm | PanelModel;
  if (model.get('_kind') === 'form') {
    shown = new SharedForm(model, requests, trans);
    root.render(<FormView shared={shown} requests={requests} trans={trans} />);
  } else {
    shown = new PanelModel(requests, trans);
    root.render(<PanelView model={shown} trans={trans} />);
  }
  return () => {
    stopFollowing();
    root.unmount();
    shown.dispose();
    requests.dispose();
  };
}

export default { render };
