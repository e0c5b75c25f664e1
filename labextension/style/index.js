import './base.css';
import './services.css';
