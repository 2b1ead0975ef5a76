_base_ = __import__('lfi').config_path('domain_generalization/lfi_vit-tiny-p8_lit-lite0_pacs.py')
