import './base.css';
import './services.css';
import './publish.css';
