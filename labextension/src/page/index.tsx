import * as React from 'react';
import { createRoot } from 'react-dom/client';

import { ServicesApi } from '../calls/api';
import '../../style/base.css';
import '../../style/services.css';
import '../../style/document.css';
import '../../style/bare.css';
import '../../style/page.css';
import { Access } from './access';
import { App } from './app';
import { Navigation } from './place';
import { english } from './translation';

const element = document.getElementById('page');
if (element) {
  document.documentElement.classList.add('jp-MlsvcBare');
  const { root = './', open, contact = '' } = element.dataset;
  const navigation = new Navigation(root);
  const access = new Access(navigation.root);
  const api = new ServicesApi(access);
  const world = { access, api, navigation, trans: english, isOpen: open === 'true', contact };
  createRoot(element).render(<App world={world} />);
}
