import { IDisposable } from '@lumino/disposable';
import * as React from 'react';

import { IServiceResult, IServiceVersion, ServicesApi } from '../calls/api';
import { harmless, harmlessLines, useSignal } from '../calls/components';
import { NOTHING_KEPT, TryForm } from '../calls/form';
import { ITranslation } from '../calls/translation';
import { TryIt } from '../calls/try';
import { textOfValue } from '../calls/values';
import { IWidgetModel } from './model';
import { errorOf, IProblem, KernelRequests } from './requests';

/**
 * Milliseconds without a key until the kernel hears what was typed.
 */
const PAUSE = 300;

/**
 * How the last call went, as the kernel keeps it.
 */
interface ILast {
  milliseconds: number;
  result?: IServiceResult;
  problem?: IProblem;
}

/**
 * The form of a service whose values the kernel has, too.
 */
export class SharedForm implements IDisposable {
  constructor(
    private readonly _model: IWidgetModel,
    private readonly _requests: KernelRequests,
    trans: ITranslation
  ) {
    this.service = _model.get('_service') as IServiceVersion;
    const api = new ServicesApi(_requests);
    this.form = new TryForm({
      service: this.service,
      state: NOTHING_KEPT,
      trans,
      consume: (inputs, signal, onPart) => {
        this._flush();
        return api.answer(this.service, inputs, signal, onPart);
      }
    });
    this._take();
    _model.on('change:inputs', this._take);
    this.form.changed.connect(this._onTyped);
    _requests.called.connect(this._showLast);
    this._showLast();
  }

  readonly service: IServiceVersion;
  readonly form: TryForm;

  get isDisposed(): boolean {
    return this.form.isDisposed;
  }

  dispose(): void {
    if (this.isDisposed) {
      return;
    }
    this._flush();
    this._model.off('change:inputs', this._take);
    this._requests.called.disconnect(this._showLast);
    this.form.dispose();
  }

  /**
   * Take values that the kernel or another view set.
   */
  private readonly _take = (): void => {
    const given = this._model.get('inputs') as Record<string, unknown>;
    const known = this._known;
    this._known = given;
    for (const { name, type } of this.form.inputs) {
      // What is being typed stays where the kernel says nothing new.
      if (JSON.stringify(given[name]) !== JSON.stringify(known[name])) {
        this.form.type(name, textOfValue(given[name], type));
      }
    }
  };

  private readonly _onTyped = (): void => {
    clearTimeout(this._timer);
    this._timer = setTimeout(() => {
      this._flush();
    }, PAUSE);
  };

  /**
   * Tell the kernel what is in the fields, as far as it can be read.
   */
  private _flush(): void {
    clearTimeout(this._timer);
    const { readable } = this.form;
    if (JSON.stringify(readable) !== JSON.stringify(this._known)) {
      this._known = readable;
      this._model.set('inputs', readable);
      this._model.save_changes();
    }
  }

  /**
   * Show what a call gave that was made by a program, or before the page was loaded.
   */
  private readonly _showLast = (): void => {
    this._requests.json<ILast | null>('GET', ['last']).then(
      last => {
        if (last) {
          void this.form.show(last.milliseconds, () => {
            if (last.problem) {
              throw errorOf(last.problem);
            }
            return last.result as IServiceResult;
          });
        }
      },
      () => undefined
    );
  };

  /**
   * What the kernel has in the fields.
   */
  private _known: Record<string, unknown> = {};
  private _timer: ReturnType<typeof setTimeout> | undefined;
}

/**
 * The form of a service, under the service's name.
 */
export function FormView(props: {
  shared: SharedForm;
  requests: KernelRequests;
  trans: ITranslation;
}): React.ReactElement {
  const { shared, requests, trans } = props;
  const { form, service } = shared;
  useSignal(requests.gone);
  return (
    <article className="jp-MlsvcWidget-form" data-service={service.name}>
      <h3 className="jp-MlsvcWidget-title">
        {harmless(service.name)} <small>{harmless(service.version)}</small>
      </h3>
      {service.description && (
        <p className="jp-MlsvcWidget-description">{harmlessLines(service.description)}</p>
      )}
      {requests.isGone && <Gone trans={trans} />}
      <TryIt
        service={service}
        form={form}
        trans={trans}
        onRun={() => void form.submit()}
        onCancel={() => {
          form.cancel();
        }}
      />
    </article>
  );
}

/**
 * Says that the kernel does not know the widget any more.
 */
export function Gone(props: { trans: ITranslation }): React.ReactElement {
  const { trans } = props;
  return (
    <div className="jp-Mlsvc-notice jp-mod-warning" role="status">
      <p>{trans.__('The kernel was restarted. Run the cell again.')}</p>
    </div>
  );
}
