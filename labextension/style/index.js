import './base.css';
import './services.css';
import './document.css';
import './list.css';
import './publish.css';
import './sessions.css';
