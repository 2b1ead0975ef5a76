# PACS at 64 pixels, for small students. LFI_DATA_ROOT is the parent folder of PACS, LFI_TARGET_DOMAIN the domain left
# out of training.
_base_ = './domains_64.py'

data_root = '{{$LFI_DATA_ROOT:data}}/PACS'
target_domain = '{{$LFI_TARGET_DOMAIN:sketch}}'
source_domains = __import__('lfi.datasets', fromlist=['PACS']).PACS.source_domains(data_root, target_domain)
num_classes = 7

data_preprocessor = dict(num_classes=num_classes)
train_dataloader = dict(dataset=dict(type='lfi.PACS', data_root=data_root, domains=source_domains))
val_dataloader = dict(dataset=dict(type='lfi.PACS', data_root=data_root, domains=source_domains))
test_dataloader = dict(dataset=dict(type='lfi.PACS', data_root=data_root, domains=[target_domain]))
