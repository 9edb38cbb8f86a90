/* The compiled part of a worker. The stable ABI of CPython 3.11: one binary for every later version.
 *
 * LAYOUT is what Python and this file have agreed upon: fpm/worker/hot_path.py takes no binary that says another.
 */

#define Py_LIMITED_API 0x030b0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>

static int
module_exec(PyObject *module)
{
    PyObject *layout = Py_BuildValue("(i)", 1);
    int status = layout == NULL ? -1 : PyModule_AddObjectRef(module, "LAYOUT", layout);

    Py_XDECREF(layout);
    return status;
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
    {0, NULL},
};

static struct PyModuleDef module_definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "fpm._hotpath",
    .m_slots = module_slots,
};

PyMODINIT_FUNC
PyInit__hotpath(void)
{
    return PyModuleDef_Init(&module_definition);
}
